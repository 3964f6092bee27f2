"""BadNet and defences against it: NAD, and NAD with IKD."""
