"""The outside world, one file each: HTTP, proxies, browser, loopback, its peer, the terminal."""
