"""ikd: hyperparameter search that distils big object detectors into small ones."""
