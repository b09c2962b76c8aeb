"""What finished runs say, in tables and charts that can be handed on."""
