"""Small modules beside a frozen backbone, which alone are trained with the head, and alone are kept."""
