"""Predicting on a scan or an image of one's own, without labels: ``predict_file`` and what it takes (`prediction.run`)."""
