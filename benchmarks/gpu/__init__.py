"""One command for a machine with a GPU: what the kernels, the steps, the attack and whole trials cost there."""
