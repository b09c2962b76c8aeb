"""The auxiliary set on disk: a folder that curation writes and training reads. One from elsewhere is untrusted."""
