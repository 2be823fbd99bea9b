"""What ``azd up`` does beside Bicep: sign-in, registry, secrets, event subscriptions, a smoke test.

Three scripts (``preprovision``, ``postprovision``, ``postdeploy``) that can be run again at any
time; each of the other modules is one thing that they do.
"""
