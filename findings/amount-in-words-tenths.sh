#!/usr/bin/env bash
# num2words 0.5.14: 12.50 is written out as twelve pesos and five centavos, in Danish as twelve kroner and five øre.
#
# Cheques, receipts and invoices of some countries give the amount in words, and where words and figures differ, the words hold.
# Guess: 12.5 is twelve and fifty hundredths in every language; a whole number means the same in each.
# Seen:  in the Spanish of Colombia, Costa Rica, Guatemala and Venezuela, and in Danish, a float's decimals are taken for hundredths
#        as they stand: 12.50 and 12.05 are the same words, five centavos; 0.999 is 999 øre. In Bengali both are fifty paisa.
#        Decimal("12.50") is "twelve pesos and zero point five centavos" there, and in Danish "twelve comma five øre".
#        A whole number is in hundredths for most languages (1250 is twelve euros fifty), and whole pesos or reais for others.
#        English and the Spanish of Spain, which one tries first, write 12.50 right.
# So: try each language with 12.05, 12.50 and 1250 first; for these six put the words together from two whole numbers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'num2words==0.5.14' 2>/dev/null

cat > "$work/seen.py" <<'PY'
from decimal import Decimal

from num2words import num2words

for language in ("en", "es", "es_CO", "es_CR", "es_GT", "es_VE", "da", "bn", "pt_BR"):
    print(language)
    for amount in (12.05, 12.5, Decimal("12.50"), 1250):
        print(f"  {amount!r}: {num2words(amount, to='currency', lang=language)}")
print("da 0.999:", num2words(0.999, to="currency", lang="da"))
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected=$(
    cat <<'SEEN'
en
  12.05: twelve euro, five cents
  12.5: twelve euro, fifty cents
  Decimal('12.50'): twelve euro, fifty cents
  1250: twelve euro, fifty cents
es
  12.05: doce euros con cinco céntimos
  12.5: doce euros con cincuenta céntimos
  Decimal('12.50'): doce euros con cincuenta céntimos
  1250: doce euros con cincuenta céntimos
es_CO
  12.05: doce pesos y cinco centavos
  12.5: doce pesos y cinco centavos
  Decimal('12.50'): doce pesos y cero punto cinco centavos
  1250: mil doscientos cincuenta pesos
es_CR
  12.05: doce colónes y cinco céntimos
  12.5: doce colónes y cinco céntimos
  Decimal('12.50'): doce colónes y cero punto cinco céntimos
  1250: mil doscientos cincuenta colónes
es_GT
  12.05: doce quetzales y cinco centavos
  12.5: doce quetzales y cinco centavos
  Decimal('12.50'): doce quetzales y cero punto cinco centavos
  1250: mil doscientos cincuenta quetzales
es_VE
  12.05: doce bolívares fuertes y cinco centavos
  12.5: doce bolívares fuertes y cinco centavos
  Decimal('12.50'): doce bolívares fuertes y cero punto cinco centavos
  1250: mil doscientos cincuenta bolívares fuertes
da
  12.05: tolv kr og fem øre
  12.5: tolv kr og fem øre
  Decimal('12.50'): tolv komma fem øre
  1250: tolv kr og halvtreds øre
bn
  12.05: বারো টাকা পঞ্চাশ পয়সা
  12.5: বারো টাকা পঞ্চাশ পয়সা
  Decimal('12.50'): বারো টাকা পঞ্চাশ পয়সা
  1250: এক হাজার দুইশত পঞ্চাশ টাকা
pt_BR
  12.05: doze reais e cinco centavos
  12.5: doze reais e cinquenta centavos
  Decimal('12.50'): doze reais e cinquenta centavos
  1250: mil, duzentos e cinquenta reais
da 0.999: nihundrede og nioghalvfems øre
SEEN
)
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'num2words no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
