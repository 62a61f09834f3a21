"""The commands, one a file: their options, their help, and a call of what does the work."""
