"""What is measured, against what, and how; README.md has the results. Nothing the worker needs is in here."""
