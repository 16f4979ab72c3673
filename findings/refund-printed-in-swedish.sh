#!/usr/bin/env bash
# currency.js 2.0.4 and accounting 0.4.1: a refund that Intl of Node.js 20 printed in Swedish is read back as money to be paid.
#
# Intl.NumberFormat writes amounts in a customer's language; both libraries read amounts of text, with the decimal mark as a setting.
# Guess: a minus is a minus. With the decimal mark told, the amount that was printed is the amount that is read.
# Seen:  in Swedish, Norwegian, Finnish, Estonian, Lithuanian, Slovenian and Croatian the printed minus is U+2212. Neither library
#        knows it, and neither refuses what it does not know: -12.50 comes back as 12.5. In English, German and French, which one
#        tries, the minus is the ASCII one. Of "12.50-", as SAP and banks write it, accounting makes 12.5 and currency.js NaN.
# So: hand amounts on as minor units; replace U+2212 by "-" before parsing, and refuse text with unknown signs in it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund 'currency.js@2.0.4' 'accounting@0.4.1' >/dev/null 2>&1

cat > seen.js <<'JS'
const accounting = require('accounting')
const currency = require('currency.js')

for (const language of ['en', 'de', 'fr', 'de-CH', 'sv', 'nb', 'fi', 'et', 'lt', 'sl', 'hr']) {
  const format = new Intl.NumberFormat(language, { style: 'currency', currency: 'EUR' })
  const decimal = format.formatToParts(-12.5).find(part => part.type === 'decimal').value
  const minus = format.formatToParts(-12.5).find(part => part.type === 'minusSign').value
  const text = format.format(-12.5)
  console.log(`${language}: ${text.replace(/\s/g, ' ')}, minus U+${minus.codePointAt(0).toString(16).padStart(4, '0')}:`,
    `currency.js ${currency(text, { decimal }).value}, accounting ${accounting.unformat(text, decimal)}`)
}
console.log(`12.50-: currency.js ${currency('12.50-').value}, accounting ${accounting.unformat('12.50-')}`)
JS
seen=$(node seen.js)
expected='en: -€12.50, minus U+002d: currency.js -12.5, accounting -12.5
de: -12,50 €, minus U+002d: currency.js -12.5, accounting -12.5
fr: -12,50 €, minus U+002d: currency.js -12.5, accounting -12.5
de-CH: EUR-12.50, minus U+002d: currency.js -12.5, accounting -12.5
sv: −12,50 €, minus U+2212: currency.js 12.5, accounting 12.5
nb: −12,50 €, minus U+2212: currency.js 12.5, accounting 12.5
fi: −12,50 €, minus U+2212: currency.js 12.5, accounting 12.5
et: −12,50 €, minus U+2212: currency.js 12.5, accounting 12.5
lt: −12,50 €, minus U+2212: currency.js 12.5, accounting 12.5
sl: −12,50 €, minus U+2212: currency.js 12.5, accounting 12.5
hr: −12,50 €, minus U+2212: currency.js 12.5, accounting 12.5
12.50-: currency.js NaN, accounting 12.5'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the libraries, or Intl, no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
