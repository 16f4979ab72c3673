"""When certificates and revocation lists in files run out, and what doctor and metrics say of it."""

import base64
import contextlib
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ordermq.cli.doctor import tls
from ordermq.cli.doctor.certificates import show_tls_files
from ordermq.config.settings import Settings
from ordermq.config.validity import Validity, certificates_in, revocations_in
from ordermq.observe import metrics
from tests.support.authority import Authority

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("authority")


@pytest.fixture(scope="module")
def authority(folder):
    return Authority(folder, "authority")


def using(**files):
    """Return settings whose broker is reached by TLS with these files."""
    settings = Settings()
    named = {name: str(path) for name, path in files.items()}
    return replace(settings, broker=replace(settings.broker, tls=True, **named))


def test_the_times_of_a_certificate_are_those_that_cryptography_reads(authority, folder):
    far, _ = authority.issue("far", ends=40 * 365)  # from 2050 on the time is written otherwise
    near, _ = authority.issue("near", ends=2)
    found = certificates_in(near.read_bytes() + b"between\n" + far.read_bytes())
    read = [x509.load_pem_x509_certificate(each.read_bytes()) for each in (near, far)]
    assert [each[:2] for each in found] == [
        (each.not_valid_before_utc, each.not_valid_after_utc) for each in read
    ]
    assert found[1].ends.year > 2050
    assert found[0].issuer == found[1].issuer


def test_of_each_authority_the_newest_list_counts_and_of_those_the_one_that_ends_first(authority, folder):
    lists = [authority.revocations("old", ends=-1), authority.revocations("new", ends=9)]
    lists.append(Authority(folder, "other").revocations("others", ends=5))
    data = b"".join(each.read_bytes() for each in lists)
    assert [each.ends for each in revocations_in(data)] == [
        x509.load_pem_x509_crl(each.read_bytes()).next_update_utc for each in lists[1:]
    ]
    both = folder / "both.crl"
    both.write_bytes(data)
    finding = of_file(crl_file=both)
    assert (finding.check, finding.level, finding.text[:20]) == (
        "broker.crl_file",
        "warn",
        "runs out in 4 days, ",
    )


def of_file(**files):
    """Return what doctor finds of the one file that the settings name; nothing is connected."""
    settings = using(**files)
    unreachable = replace(settings, broker=replace(settings.broker, hosts=()))
    found = list(tls.check_certificates(SimpleNamespace(settings=unreachable)))
    return found[-1]


@pytest.mark.parametrize(
    ("ends", "level", "text"),
    [
        (90, "ok", "runs out in 89 days"), (20, "ok", "runs out in 19 days"),
        (0.2, "warn", "runs out in 4 hours"), (0.05, "fail", "runs out in 1 hours"),
        (-0.5, "fail", "ran out on "),
    ],
)  # fmt: skip
def test_a_client_certificate_is_judged_by_what_is_left_of_its_life(authority, ends, level, text):
    cert, key = authority.issue("client", ends=ends)
    finding = of_file(cert_file=cert, key_file=key)
    assert (finding.check, finding.level) == ("broker.cert_file", level)
    assert finding.text.startswith(text)
    assert level == "ok" or str(cert) in finding.todo


@pytest.mark.parametrize(
    ("life", "left", "is_due", "is_urgent"),
    [
        (365, 31, False, False),
        (365, 29, True, False),
        (365, 6, True, True),
        (7, 2, False, False),
        (7, 1, True, False),
    ],
)
def test_what_lives_long_is_due_a_month_before_and_what_lives_days_in_its_last_quarter(
    life, left, is_due, is_urgent
):
    ends = NOW + timedelta(days=left)
    found = Validity(ends - timedelta(days=life), ends)
    assert (found.is_due(NOW), found.is_urgent(NOW)) == (is_due, is_urgent)


def test_an_authority_that_ran_out_does_not_count_while_the_file_has_another(authority, folder):
    both = folder / "authorities.pem"
    old, _ = authority.issue("old-authority", ends=-0.5)
    both.write_bytes(old.read_bytes() + authority.file.read_bytes())
    assert of_file(ca_file=both).text.startswith("runs out in 29 days")


def test_a_file_that_cannot_be_read_is_unknown_since_the_connection_says_more(folder):
    assert of_file(crl_file=folder / "none").level == "unknown"
    (folder / "empty").write_text("")
    assert "does not say" in of_file(crl_file=folder / "empty").text


def test_metrics_say_what_the_file_holds_when_they_are_asked(authority, folder):
    def shown(name):
        return metrics.REGISTRY.get_sample_value(
            f"ordermq_tls_file_{name}_timestamp_seconds", {"file": "broker.crl_file"}
        )

    path = authority.revocations("shown", ends=3)
    show_tls_files(using(crl_file=path))
    try:
        first = shown("expires")
        authority.revocations("shown", ends=5)
        assert (round(shown("expires") - first), round((shown("expires") - shown("issued")) / 86_400)) == (
            2 * 86_400,
            35,
        )
        path.unlink()
        assert math.isnan(shown("expires"))
    finally:
        for each in (metrics.tls_file_expires, metrics.tls_file_issued):
            each.clear()


@given(noise=st.binary(max_size=60), at=st.integers(0, 400), byte=st.integers(0, 255))
def test_bytes_that_are_no_certificate_raise_value_error_alone(authority, noise, at, byte):
    changed = bytearray(
        x509.load_pem_x509_certificate(authority.file.read_bytes()).public_bytes(Encoding.DER)
    )
    changed[at % len(changed)] = byte
    for body in (bytes(changed), noise):
        for kind, read in ((b"CERTIFICATE", certificates_in), (b"X509 CRL", revocations_in)):
            text = base64.b64encode(body)
            with contextlib.suppress(ValueError):
                read(b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (kind, text, kind))
