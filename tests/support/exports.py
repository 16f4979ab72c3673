"""Orders as shops export them, with invented data: the columns of Shopify and the fields of WooCommerce."""

import csv
import io
import json

SHOPIFY_COLUMNS = [
    "Name", "Email", "Financial Status", "Paid at", "Fulfillment Status", "Fulfilled at",
    "Accepts Marketing", "Currency", "Subtotal", "Shipping", "Taxes", "Total", "Discount Code",
    "Discount Amount", "Shipping Method", "Created at", "Lineitem quantity", "Lineitem name",
    "Lineitem price", "Lineitem compare at price", "Lineitem sku", "Lineitem requires shipping",
    "Lineitem taxable", "Lineitem fulfillment status", "Billing Name", "Billing Street", "Billing Address1",
    "Billing Address2", "Billing Company", "Billing City", "Billing Zip", "Billing Province",
    "Billing Country", "Billing Phone", "Shipping Name", "Shipping Street", "Shipping Address1",
    "Shipping Address2", "Shipping Company", "Shipping City", "Shipping Zip", "Shipping Province",
    "Shipping Country", "Shipping Phone", "Notes", "Note Attributes", "Cancelled at", "Payment Method",
    "Payment Reference", "Refunded Amount", "Vendor", "Outstanding Balance", "Employee", "Location",
    "Device ID", "Id", "Tags", "Risk Level", "Source", "Lineitem discount", "Tax 1 Name", "Tax 1 Value",
    "Tax 2 Name", "Tax 2 Value", "Tax 3 Name", "Tax 3 Value", "Tax 4 Name", "Tax 4 Value", "Tax 5 Name",
    "Tax 5 Value", "Phone", "Receipt Number", "Duties", "Billing Province Name", "Shipping Province Name",
    "Payment ID", "Payment Terms Name", "Next Payment Due At", "Payment References",
]  # fmt: skip

_SHORT = {
    "status": "Financial Status", "shipped": "Fulfillment Status", "code": "Discount Code",
    "discount": "Discount Amount", "created": "Created at", "cancelled": "Cancelled at",
    "refunded": "Refunded Amount", "quantity": "Lineitem quantity", "product": "Lineitem name",
    "price": "Lineitem price", "sku": "Lineitem sku", "off": "Lineitem discount",
    "ships": "Lineitem requires shipping", "reference": "Payment Reference", "notes": "Notes",
}  # fmt: skip


def shopify_order(name="#1001", *lines, **cells):
    """Return the rows of an order as mappings of columns: lines are ``(quantity, name, price, sku)``."""
    lines = lines or ((1, "Mug - Blue", "10.00", "MUG-B"),)
    subtotal = cells.pop("subtotal", None)
    repeated = {
        "Name": name,
        "Email": cells.pop("email", "buyer@shop.example"),
        "Created at": cells.pop("created", "2026-05-04 09:15:30 +0200"),
    }
    first = {
        "Financial Status": "pending", "Fulfillment Status": "unfulfilled", "Currency": "EUR",
        "Subtotal": subtotal or "10.00", "Shipping": "0.00", "Taxes": "0.00",
        "Total": subtotal or "10.00", "Discount Amount": "0.00", "Refunded Amount": "0.00",
        "Id": "9000000000001",
    }  # fmt: skip
    extra = {_SHORT.get(key, key.replace("_", " ").title()): value for key, value in cells.items()}
    rows = []
    for quantity, product, price, *more in lines:
        row = dict(repeated)
        if not rows:
            row |= first | {"Id": extra.pop("Id", first["Id"])} | extra
        row |= {
            "Lineitem quantity": str(quantity), "Lineitem name": product, "Lineitem price": price,
            "Lineitem sku": more[0] if more else "",
            "Lineitem discount": more[1] if len(more) > 1 else "0.00",
            "Lineitem requires shipping": "true",
        }  # fmt: skip
        rows.append(row)
    return rows


def shopify_file(*orders, columns=SHOPIFY_COLUMNS, end="\n"):
    """Return the bytes of an export that holds these orders' rows, one behind the other."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator=end, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(row for rows in orders for row in rows)
    return text.getvalue().encode()


def woocommerce_line(units=1, total="10.00", tax="0.00", **fields):
    """Return a line of an order."""
    return {
        "id": 11, "name": "Mug", "product_id": 93, "variation_id": 0, "quantity": units, "tax_class": "",
        "subtotal": fields.pop("subtotal", total), "subtotal_tax": tax, "total": total, "total_tax": tax,
        "taxes": [], "meta_data": [], "sku": "MUG-B", "price": float(total) / units,
        "image": {"id": 0, "src": ""}, "parent_name": None, **fields,
    }  # fmt: skip


def woocommerce_order(id=1001, *lines, **fields):
    """Return an order as the REST API answers it."""
    address = dict.fromkeys(("first_name", "last_name", "company", "city", "postcode", "phone"), "")
    return {
        "id": id, "parent_id": 0, "number": str(id), "order_key": f"wc_order_{id}", "created_via": "checkout",
        "version": "9.4.0", "status": "pending", "currency": "EUR",
        "date_created": "2026-05-04T09:15:30", "date_created_gmt": "2026-05-04T07:15:30",
        "discount_total": "0.00", "discount_tax": "0.00", "shipping_total": "0.00", "shipping_tax": "0.00",
        "cart_tax": "0.00", "total": "10.00", "total_tax": "0.00", "prices_include_tax": False,
        "customer_id": 7, "customer_note": "", "billing": {**address, "email": "buyer@shop.example"},
        "shipping": address, "payment_method": "bacs", "transaction_id": "",
        "date_paid": None, "date_paid_gmt": None, "meta_data": [],
        "line_items": list(lines) or [woocommerce_line()], "tax_lines": [], "shipping_lines": [],
        "fee_lines": [], "coupon_lines": [], "refunds": [], "needs_payment": True, "_links": {}, **fields,
    }  # fmt: skip


def json_lines(*orders):
    """Return the orders one a line, as bytes."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in orders)
