"""How large a report is, how long it takes to make, and how long a browser takes to open it."""
