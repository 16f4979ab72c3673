"""The built-in e-mails: for each notification a subject, a text and the same as HTML."""
