"""What the platform does not let a tenant ask for."""


class RejectedSpec(Exception):
    """The message names field, value, rule and what to do next: it is told on the object."""
