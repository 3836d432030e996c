"""Profiles and settings from TOML: built-in, system, user, project, environment.

`paths`, `layers`, `plan` and `hosts` are on the warm road; `compile` and the rest are read only
when a layer has changed or a command is about the configuration itself.
"""
