"""What the notebooks share: records of results, figures, widgets and the report."""
