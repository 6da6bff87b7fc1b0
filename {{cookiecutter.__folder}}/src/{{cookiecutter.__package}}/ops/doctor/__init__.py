"""`doctor`: what is wrong with the project, and the command that mends it. It only reads."""
