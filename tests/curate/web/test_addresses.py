from ipaddress import IPv4Address, IPv6Address, ip_address

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.curate.web.addresses import Url, checked_url, literal, refused
from lt_extrap.curate.web.failure import Failure

PRIVATE = """
0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255
127.0.0.1 127.0.0.53 127.255.255.255 168.63.129.16 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.0
172.31.255.255 192.0.0.0 192.0.0.170 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0
198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1
::10.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:168.63.129.16 ::ffff:0:127.0.0.1
64:ff9b::127.0.0.1 64:ff9b::8.8.8.8 64:ff9b:1::a00:1 100::1 2001::1 2001:0:7f00:1:: 2001:2::1 2001:10::1
2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 2606:4700:0:1:0:5efe:10.0.0.1 2606:4700::200:5efe:a00:1
3fff::1 3fff:fff:ffff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254 fdff:ffff::1 fe80::1
fe80::a9fe:a9fe fe80::1%eth0 fec0::1 feff::1 ff00::1 ff02::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
2606:4700::1111%eth0
""".split()  # noqa: SIM905
PUBLIC = """
1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255
128.0.0.1 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255
192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 ::ffff:8.8.8.8 2000::1 2001:200::1
2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1 2003::1 2606:4700:4700::1111 2606:4700::1:5efe:0:1
2620:fe::fe 2a00:1450:4001:81b::200e 3ffe:ffff::1 3fff:1000::1
""".split()  # noqa: SIM905


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address):
    assert refused(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_their_public_neighbors_are_not(address):
    assert refused(ip_address(address)) is None


def test_there_are_enough_of_them():
    assert len(set(PRIVATE)) >= 60
    assert len(set(PUBLIC)) >= 40


@settings(max_examples=30)
@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_what_is_not_global_is_refused(address):
    """Python's own list, as far as it goes; a mapped address is the next test's."""
    if getattr(address, "ipv4_mapped", None) is None and (
        not address.is_global or address.is_multicast or address.is_reserved
    ):
        assert refused(address)


@settings(max_examples=30)
@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_one_that_it_maps(address):
    assert refused(IPv6Address(f"::ffff:{address}")) == refused(address)


@settings(max_examples=30)
@given(st.ip_addresses(v=4))
def test_no_other_way_leads_to_an_address_through_ipv6(address):
    number = int(address)
    for place in ("::", "64:ff9b::", "::ffff:0:0:0"):
        if int(IPv6Address(place)) | number:
            assert refused(IPv6Address(int(IPv6Address(place)) | number))
    assert refused(IPv6Address(0x2002 << 112 | number << 80))
    assert refused(IPv6Address(0x2606_4700 << 96 | 0x5EFE << 32 | number))


SPELLINGS = {
    "http://photos.example": "http://photos.example/",
    "  HTTPS://Photos.Example:443/a.jpg#part \n": "https://photos.example/a.jpg",
    "http://photos.example.:80/": "http://photos.example/",
    "http://photos.example:/a": "http://photos.example/a",
    "http://photos.example?a=b c": "http://photos.example/?a=b%20c",
    "http://photos.example/a b/ü/100%/%C3%BC": "http://photos.example/a%20b/%C3%BC/100%25/%C3%BC",
    "http://photos.example/a/./b/../c/%2e%2E/d": "http://photos.example/a/d",
    "http://photos.example/../../etc/passwd": "http://photos.example/etc/passwd",
    "http://photos.example/a/..": "http://photos.example/",
    "http://photos.example//a//b": "http://photos.example//a//b",
    "http://photos.example/a\\b": "http://photos.example/a%5Cb",
    "http://photos.example/\"<>`{}^'": "http://photos.example/%22%3C%3E%60%7B%7D%5E'",
    "http://Bücher.example/": "http://xn--bcher-kva.example/",
    "http://faß.example/": "http://xn--fa-hia.example/",
    "http://例え.テスト/": "http://xn--r8jz45g.xn--zckzah/",
    "http://PHOTOS\u3002example/": "http://photos.example/",
    "http://xn--bcher-kva.example/": "http://xn--bcher-kva.example/",
    "http://my_bucket.photos.example/": "http://my_bucket.photos.example/",
    "http://1.2.3.com/": "http://1.2.3.com/",
    "http://8.8.8.8/": "http://8.8.8.8/",
    "http://[2606:4700::0:1111]/": "http://[2606:4700::1111]/",
}


@pytest.mark.parametrize("url", SPELLINGS)
def test_an_address_has_one_spelling(url):
    checked = checked_url(url)
    assert str(checked) == SPELLINGS[url]
    assert checked_url(str(checked)) == checked


WRONG = {
    "": "scheme",
    "photo.jpg": "scheme",
    "//photos.example/a.jpg": "scheme",
    "ftp://photos.example/": "scheme",
    "file:///etc/passwd": "scheme",
    "gopher://photos.example/": "scheme",
    "s3://bucket/key": "scheme",
    "data:image/png;base64,AAAA": "scheme",
    "javascript:alert(1)": "scheme",
    "http:photos.example": "url",
    "http:///a.jpg": "url",
    "http://": "url",
    "http://.": "url",
    "http://a..example/": "url",
    "http://-a.example/": "url",
    "http://a b.example/": "url",
    "http://photos.example:22/": "url",
    "http://photos.example:8080/": "url",
    "http://photos.example:0/": "url",
    "http://photos.example:http/": "url",
    "http://photos.example:99999/": "url",
    "http://photos.example:\u0664\u0664/": "url",
    "http://me@photos.example/": "url",
    "http://me:secret@photos.example/": "url",
    "http://photos.example\\@127.0.0.1/": "url",
    "http://127.0.0.1\\.photos.example/": "url",
    "http://photos.example%2f@x/": "url",
    "http://%31%32%37.0.0.1/": "url",
    "http://photos.ex\tample/": "url",
    "http://photos.example/a\nb": "url",
    "http://photos.example/\x00": "url",
    "http://photos.example/\ud800": "url",
    "http://[::1": "url",
    "http://::1/": "url",
    "http://[photos.example]/": "url",
    "http://[::1]x/": "url",
    "http://xn--\u00fc.example/": "url",
    "http://xn--a.example/": "url",
    "http://\u2100.example/": "url",
    f"http://{'a' * 64}.example/": "url",
    f"http://{'a.' * 130}example/": "url",
    f"http://photos.example/{'a' * 9000}": "url",
    "http://127.1/": "address",
    "http://2130706433/": "address",
    "http://0x7f000001/": "address",
    "http://0x7f.0.0.0x1/": "address",
    "http://0177.0.0.1/": "address",
    "http://127.0.0.01/": "address",
    "http://1.2.3.4.5/": "address",
    "http://256.1.1.1/": "address",
    "http://0/": "address",
    "http://\u2460\u2461\u2466.1/": "address",
    "http://[fe80::1%25eth0]/": "address",
    "http://[2606:4700::1%1]/": "address",
}


@pytest.mark.parametrize("url", WRONG, ids=ascii)
def test_what_is_no_address_of_the_web_is_refused(url):
    with pytest.raises(Failure) as raised:
        checked_url(url)
    assert raised.value.kind == WRONG[url]


def test_numbers_in_letters_that_look_like_digits_are_numbers():
    assert literal(checked_url("http://\uff11\uff12\uff17.0.0.1/").host) == IPv4Address("127.0.0.1")


def test_other_ports_have_to_be_allowed():
    assert checked_url("http://photos.example:8080/", ports=frozenset([8080])).port == 8080
    with pytest.raises(Failure, match="port 80"):
        checked_url("http://photos.example/", ports=frozenset([8080]))


_TEXT = st.text(max_size=30) | st.text("abc./:@[]%\\?#&=0xn- \u3002\uff11ü", max_size=30)


@given(st.sampled_from(["http://", "https://", "http://a.example/", "http://xn--", "//", ""]), _TEXT)
def test_whatever_is_written_is_read_as_httpx_does_or_refused(start, rest):
    """No two readers of one address may see two hosts."""
    try:
        url = checked_url(start + rest)
    except Failure:
        return
    seen = httpx.Request("GET", str(url)).url
    assert seen.raw_scheme.decode() == url.scheme
    assert seen.raw_host.decode() == url.host
    assert seen.port in (None, url.port)
    assert seen.raw_path.decode() == url.target
    assert not seen.userinfo
    assert str(url).isascii()
    assert str(url).isprintable()
    assert " " not in str(url)
    assert checked_url(str(url)) == url
    assert isinstance(url, Url)
