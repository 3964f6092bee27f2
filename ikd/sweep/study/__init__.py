"""The study: what a sweep remembers."""

import sys

# Optuna brings alembic, and that mako, which loads a hundred lexers to colour tracebacks of templates: a tenth of
# `ikd status`. Where this module is missing mako does without, as it does where pygments is not installed.
sys.modules.setdefault("mako.ext.pygmentplugin", None)  # type: ignore[arg-type]  # None: cannot be imported
