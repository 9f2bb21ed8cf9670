"""Predicting on a picture of one's own, without labels: ``predict_file`` and what it takes (`prediction.run`)."""
