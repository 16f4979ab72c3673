#!/usr/bin/env bash
# ofxparse 0.21: the offset of a time is used only if a zone's name follows it, and loses its minutes.
#
# OFX writes a time as YYYYMMDDHHMMSS.XXX[offset:name]; the name may be left out, and so may the offset (then it is GMT).
# Bank statements are matched with captures and refunds by day, so an hour's error at midnight is a wrong day.
# Guess: the five times below, which are one instant (12:00 GMT), are read as the same time; half hours count.
# Seen:  without a name the offset is dropped: "[+12]" and "[-5]" are taken as GMT, 12 and 5 hours off, silently.
#        "[-03:30]", as some banks write Newfoundland's, loses its 30 minutes; "[-3.5:NST]" keeps them.
# So: read the raw text of DTPOSTED yourself where the bank leaves the name out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'ofxparse==0.21' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import io
import warnings

from ofxparse import OfxParser

warnings.simplefilter("ignore")
STATEMENT = """OFXHEADER:100
DATA:OFXSGML
VERSION:102
SECURITY:NONE
ENCODING:USASCII
CHARSET:1252
COMPRESSION:NONE
OLDFILEUID:NONE
NEWFILEUID:NONE

<OFX><SIGNONMSGSRSV1><SONRS><STATUS><CODE>0<SEVERITY>INFO</STATUS><DTSERVER>20260102<LANGUAGE>ENG</SONRS></SIGNONMSGSRSV1>
<BANKMSGSRSV1><STMTTRNRS><TRNUID>1<STATUS><CODE>0<SEVERITY>INFO</STATUS><STMTRS><CURDEF>EUR
<BANKACCTFROM><BANKID>1<ACCTID>2<ACCTTYPE>CHECKING</BANKACCTFROM>
<BANKTRANLIST><DTSTART>20260101<DTEND>20260103<STMTTRN><TRNTYPE>CREDIT<DTPOSTED>%s<TRNAMT>12.50<FITID>1<NAME>A</STMTTRN>
</BANKTRANLIST><LEDGERBAL><BALAMT>12.50<DTASOF>20260103</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"""
for text in ("20260102070000[-5:EST]", "20260102070000[-5]", "20260103000000[+12]", "20260102083000[-3.5:NST]",
             "20260102083000[-03:30]"):
    account = OfxParser.parse(io.BytesIO((STATEMENT % text).encode())).account
    print(f"{text}: {account.statement.transactions[0].date:%Y-%m-%d %H:%M} GMT")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='20260102070000[-5:EST]: 2026-01-02 12:00 GMT
20260102070000[-5]: 2026-01-02 07:00 GMT
20260103000000[+12]: 2026-01-03 00:00 GMT
20260102083000[-3.5:NST]: 2026-01-02 12:00 GMT
20260102083000[-03:30]: 2026-01-02 11:30 GMT'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'ofxparse no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
