"""What turns pure decisions into a service: bus, journal, mirrors, settings, observation, life cycle."""
