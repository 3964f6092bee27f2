"""What single kinds of detectors need beside what mmdet gives them."""
