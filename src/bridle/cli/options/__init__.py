"""The options that several commands share, each declared once, by subject.

================== ====================================================================
file               subject
================== ====================================================================
``groups.py``      a group of options becomes one typed argument of a command
``source.py``      where the samples are, and what is held out of them
``reading.py``     how files are read, and which columns of a table are used
``network.py``     a network
``output.py``      what is printed, and the folder that is written
``config.py``      any of them in a file, and written to one
``array_names.py`` which arrays of a file are meant
``panels.py``      the help of many options, by subject
================== ====================================================================
"""
