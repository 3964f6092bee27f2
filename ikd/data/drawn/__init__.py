"""The data set that ikd draws itself, for demos and tests."""
