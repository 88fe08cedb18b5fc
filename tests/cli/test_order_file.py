"""Lines of a CSV file become orders, or are refused with a reason that a person understands."""

from pathlib import Path

import pytest

from cli.errors import CommandFailed
from cli.order_file import OrderFile, OrderLine


def read(folder: Path, text: str | bytes, encoding: str = "utf-8-sig", after: int = 0) -> list[OrderLine]:
    path = folder / "orders.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(OrderFile.of(path, encoding).read(after))


def test_a_line_becomes_an_order_as_the_api_takes_it(tmp_path: Path) -> None:
    """Amounts become the smallest unit, metadata an object, and empty cells are left out."""
    [line] = read(
        tmp_path,
        "\ufeffmerchant_uid,amount,currency,name,allow_billing_key_issue,metadata\r\n"
        'order-1,6.00,USD," A ""blue"" book",yes,"{""a"": 1}"\r\n',
    )
    assert line.order == {
        "merchant_uid": "order-1",
        "amount": 600,
        "currency": "USD",
        "name": 'A "blue" book',
        "allow_billing_key_issue": True,
        "metadata": {"a": 1},
    }
    assert line.number == 2


def test_semicolons_and_other_encodings_are_read(tmp_path: Path) -> None:
    """A file as a Korean or German spreadsheet writes it is read, once its encoding is named."""
    text = "merchant_uid;amount;name\n주문-1;64900;양말\n".encode("cp949")
    [line] = read(tmp_path, text, "cp949")
    assert line.order == {"merchant_uid": "주문-1", "amount": 64900, "name": "양말"}
    with pytest.raises(CommandFailed, match="name its encoding, such as --encoding cp949"):
        read(tmp_path, text)
    with pytest.raises(CommandFailed, match="'klingon' is no encoding"):
        read(tmp_path, text, "klingon")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("order-1,64.900,KRW,", "64.900 KRW is ambiguous"),
        ("order-1,,KRW,", "It has no amount."),
        (",100,KRW,", "It has no merchant_uid."),
        ("order-1,100,XYZ,", "'XYZ' is not a currency"),
        ("order-1,100,KRW,maybe", "allow_billing_key_issue must be true or false."),
        ("order-1,100,KRW", "It has more or fewer values than there are columns."),
        ("order-1,100,KRW,,", "It has more or fewer values than there are columns."),
    ],
)
def test_a_line_that_is_no_order_is_refused_with_its_reason(tmp_path: Path, cells: str, reason: str) -> None:
    """A wrong line says what is wrong with it, and keeps no other from being read."""
    lines = read(tmp_path, f"merchant_uid,amount,currency,allow_billing_key_issue\n{cells}\n\norder-2,100,KRW,\n")
    assert [line.number for line in lines] == [2, 4]
    assert lines[0].order is None
    assert lines[0].refusal.startswith(reason)
    assert lines[1].order == {"merchant_uid": "order-2", "amount": 100, "currency": "KRW"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The first line must name the columns, and amount and merchant_uid is not among them"),
        ("merchant_uid,price\na,1\n", "and amount is not among them"),
        ("merchant_uid,amount,colour\na,1,red\n", "No order has a column 'colour': rename or remove it"),
        ("merchant_uid,amount,amount\na,1,1\n", "names a column twice"),
        ('merchant_uid,amount\n"a"b,1\n', "is not a CSV file"),
    ],
)
def test_a_file_that_is_none_of_orders_is_refused_at_once(tmp_path: Path, text: str, sentence: str) -> None:
    """A wrong first line ends the import in one sentence, before anything was sent."""
    with pytest.raises(CommandFailed, match=sentence):
        read(tmp_path, text)


def test_reading_goes_on_behind_a_line(tmp_path: Path) -> None:
    """A value with line breaks in it counts as the lines that it has, so that reading goes on behind its last."""
    text = 'merchant_uid,amount,name\na,1,"one\ntwo"\nb,1,\nc,1,\n'
    assert [line.number for line in read(tmp_path, text)] == [3, 4, 5]
    assert [line.number for line in read(tmp_path, text, after=3)] == [4, 5]
