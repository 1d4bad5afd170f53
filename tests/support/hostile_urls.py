"""Where an image must never be fetched from, and the ways to write it: rows 101 to 109 of the corpus of bad input."""

NOT_PUBLIC = (
    *("127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0", "0.1.2.3"),
    *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1"),
    *("198.18.0.1", "198.19.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1", "240.0.0.1"),
    *(
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
    ),  # metadata of clouds
    *("192.0.0.8", "192.88.99.1", "224.0.0.1", "239.255.255.250", "255.255.255.255"),
    *("::1", "::", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:7f00:1", "::127.0.0.1", "::a00:1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    *("2001:0:808:808::80ff:fffe", "2001:0:7f00:1::f7f7:f7f7", "2001:db8::1", "3fff::1", "100::1"),
    *("2001:20::1", "2001:10::1", "5f00::1", "4000::1"),
)

_OTHERWISE_WRITTEN = (
    *("localhost", "localhost.", "LOCALHOST", "localhost.localdomain", "127.1", "127.0.1", "2130706433"),
    *("0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "00000177.0.0.1", "127.0.0.1."),
    *("①②⑦.⓪.⓪.①", "\uff11\uff12\uff17.0.0.1", "127。0。0。1", "ⓛocalhost", "0", "0x0"),
    *("metadata.google.internal", "metadata", "instance-data", "kubernetes.default.svc", "redis", "triton"),
    *("127.0.0.1.nip.io", "localtest.me", "images.example.127.0.0.1.nip.io", "notimages.example"),
)

HOSTS = (
    *(f"[{each}]" if ":" in each else each for each in NOT_PUBLIC),
    *_OTHERWISE_WRITTEN,
    "[::ffff:7f00:1]",
)
"""As a URL holds them: in digits of every base and script, and as names that lead there."""

REFUSED = (  # although images.example is allowed
    # Other schemes.
    *("http://images.example/", "file:///etc/passwd", "ftp://images.example/", "gopher://images.example/"),
    *("data:image/png;base64,aGk=", "javascript:alert(1)", "ws://images.example/", "//images.example/"),
    *(
        "images.example/a.png",
        "/a.png",
        "",
        " ",
        "https:",
        "https://",
        "https:/images.example/",
        "jar:https://x!/",
    ),
    # Two hosts in one.
    *(
        "https://user:pass@images.example/",
        "https://user@images.example/",
        "https://images.example@127.0.0.1/",
    ),
    *(
        "https://127.0.0.1\\@images.example/",
        "https://images.example\\@127.0.0.1/",
        "https:\\\\images.example/",
    ),
    *(
        "https://127.0.0.1#@images.example/",
        "https://images.example#@127.0.0.1/",
        "https://127.0.0.1?@images.example/",
    ),
    *(
        "https://images.example/#fragment",
        "https://images.example,127.0.0.1/",
        "https://images.example;127.0.0.1/",
    ),
    # What a parser may drop, fold or decode.
    *(
        "https://images.example\t/",
        "https://images.exa\nmple/",
        "https://images.example/\r\nHost: x",
        " https://images.example/",
    ),
    *(
        "https://images.example /",
        "https://images.example/a b",
        "https://images.example/\0",
        "https://images%2eexample/",
    ),
    *(
        "https://images.example./",
        "https://images..example/",
        "https://.images.example/",
        "https://%31%32%37.0.0.1/",
    ),
    # Names that only look like it.
    *(
        "https://imag\u0435s.example/",
        "https://\uff49mages.example/",
        "https://images。example/",
        "https://images.example\u200b/",
    ),
    *("https://sub.images.example/", "https://images.example.evil.example/", "https://evil-images.example/"),
    # Other ports.
    *(
        f"https://images.example:{port}/"
        for port in ("22", "80", "6379", "8001", "0", "65536", "0443", "", "-1", "443x")
    ),
)
