"""Rejections of what a tenant may not request."""


class RejectedSpec(Exception):
    """An object cannot be synced; the message, `field: fact. Remedy.`, becomes an event of the object."""
