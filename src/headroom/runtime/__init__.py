"""Carry a plan out: stages run, parts come and go, events tell what happened."""
