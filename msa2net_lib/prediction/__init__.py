"""Prediction on one's own scan or image, without labels: ``predict_file`` and what it takes (`prediction.run`)."""
