"""The shop's third parties to practise on: a payment gateway, an SMS service and a mail server.

One process. HTTP on one port, ``/payment/v1/...``, ``/sms/v1/...`` and ``/mail/v1/...``, and SMTP on
another. What each promises is in ``payment``, ``sms`` and ``mail``, how to make them fail in ``behaviour``.
"""
