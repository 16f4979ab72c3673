"""The shop's third parties to practise on, over real HTTP: a payment gateway and an SMS service.

One process, one port, ``/payment/v1/...`` and ``/sms/v1/...``. What each promises is
in ``payment`` and ``sms``, how to make them fail in ``behaviour``.
"""
