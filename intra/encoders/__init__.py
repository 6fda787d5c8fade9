"""Pretrained parts: texts and pictures in, features out."""
