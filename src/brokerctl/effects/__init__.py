"""The outside world, one small file each: HTTP, browser, loopback, terminal, requester."""
