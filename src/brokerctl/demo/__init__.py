"""The embedded issuer and the story that `brokerctl demo` tells; nothing else imports this room."""
