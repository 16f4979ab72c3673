#!/usr/bin/env bash
# reportlab 5.1.0 and python-barcode 0.16.1: the Code 39 label of order A-100 is scanned as order A-1004.
#
# Code 39 prints the numbers of orders and parcels. Its check character is optional, and the bars do not tell whether there is one; a
# reader that has not been told of it, such as zxing, hands it on as text.
# Guess: what is drawn is what is scanned; a check character is there if it was asked for, as with zxing's own writer.
# Seen:  both libraries add one by default, and the scanner reads it as a part of the number. A-100 becomes A-1004, which may well be
#        an order of the shop: nothing fails, and the parcel is booked on that one.
#        reportlab's interleaved 2 of 5 adds a check digit too, and then a zero in front if the number of digits is odd.
#        Code 128 and Code 93 are read as they were drawn: their check characters are no option.
# So: checksum=0 (reportlab), add_checksum=False (python-barcode); and scan once, in a test, what you print.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'reportlab==5.1.0' 'python-barcode==0.16.1' 'pillow==13.0.0' 'zxing-cpp==3.1.1' 'pypdfium2==5.15.2' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import io

import barcode
import pypdfium2
import zxingcpp
from barcode.writer import ImageWriter
from reportlab.graphics.barcode import createBarcodeDrawing
from reportlab.pdfgen.canvas import Canvas


def scan(image):
    return ", ".join(code.text for code in zxingcpp.read_barcodes(image)) or "nothing"


def draw_by_reportlab(name, text, **options):
    drawing = createBarcodeDrawing(name, value=text, barHeight=60, **options)
    file = io.BytesIO()
    page = Canvas(file, pagesize=(drawing.width + 80, drawing.height + 80))
    drawing.drawOn(page, 40, 40)
    page.save()
    return pypdfium2.PdfDocument(file.getvalue())[0].render(scale=4).to_pil()


def draw_by_python_barcode(name, text, **options):
    return barcode.get_barcode_class(name)(text, writer=ImageWriter(), **options).render()


for draw, name, text, options in (
    (draw_by_reportlab, "Standard39", "A-100", {}),
    (draw_by_reportlab, "Standard39", "A-100", {"checksum": 0}),
    (draw_by_reportlab, "I2of5", "123456", {}),
    (draw_by_reportlab, "I2of5", "123456", {"checksum": 0}),
    (draw_by_reportlab, "Standard93", "A-100", {}),
    (draw_by_reportlab, "Code128", "A-100", {}),
    (draw_by_python_barcode, "code39", "A-100", {}),
    (draw_by_python_barcode, "code39", "A-100", {"add_checksum": False}),
    (draw_by_python_barcode, "code128", "A-100", {}),
):
    print(f"{draw.__name__.removeprefix('draw_by_')} {name} {options or ''} {text}: scanned as {scan(draw(name, text, **options))}")
written = zxingcpp.create_barcode("A-100", zxingcpp.BarcodeFormat.Code39).to_image()
print("zxing's own Code 39 A-100: scanned as", scan(written))
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected=$(
    cat <<'SEEN'
reportlab Standard39  A-100: scanned as A-1004
reportlab Standard39 {'checksum': 0} A-100: scanned as A-100
reportlab I2of5  123456: scanned as 01234565
reportlab I2of5 {'checksum': 0} 123456: scanned as 123456
reportlab Standard93  A-100: scanned as A-100
reportlab Code128  A-100: scanned as A-100
python_barcode code39  A-100: scanned as A-1004
python_barcode code39 {'add_checksum': False} A-100: scanned as A-100
python_barcode code128  A-100: scanned as A-100
zxing's own Code 39 A-100: scanned as A-100
SEEN
)
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the libraries no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
