"""How the command ends, as a shell or a script is told.

======= ==========================================================================================
code    meaning
======= ==========================================================================================
0       what was asked for is done
1       a fault of bridle itself: Python shows where
2       what was typed, a file, a library or the machine did not allow it: one line says why
130     interrupted (Ctrl-C), as shells say of a process that SIGINT ends
141     whoever read what is printed stopped reading, as shells say of one that SIGPIPE ends
======= ==========================================================================================
"""

DONE = 0
FAULT = 1  # Python's own, of an exception that nothing caught
REFUSED = 2
INTERRUPTED = 130
UNREAD = 141

MEANINGS = {
    DONE: "done",
    FAULT: "a fault of bridle itself, shown by Python",
    REFUSED: "refused, in one line that says why",
    INTERRUPTED: "interrupted",
    UNREAD: "nobody reads what is printed any more",
}
