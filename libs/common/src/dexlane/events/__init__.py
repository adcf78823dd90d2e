"""The contract between services: frozen facts, their subjects, and the streams that store them."""
