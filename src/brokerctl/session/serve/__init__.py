"""What a session serves its child: a socket, a gateway, the endpoints that SDKs know by themselves.

All of it lives in the supervisor's process, in threads of their own, and only where the command
line asks for it. Nothing here opens the store: whatever is handed out comes from the `desk`.
"""
