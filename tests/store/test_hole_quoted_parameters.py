"""An error of the database must not list the statement's parameters: keys, seeds and salts are among them."""

import pytest
import sqlalchemy.exc
from sqlalchemy import text

SECRET = "7731-secret"


def test_a_broken_rule_of_the_database_does_not_list_its_parameters(database):
    database.write(
        lambda tx: tx.execute(text("CREATE TABLE kept (value VARCHAR(40) PRIMARY KEY CHECK (value = 'a'))"))
    )

    def change(tx) -> None:
        tx.execute(text("INSERT INTO kept VALUES (:value)"), {"value": SECRET})

    with pytest.raises(sqlalchemy.exc.IntegrityError) as caught:
        database.write(change)
    assert f"'value': '{SECRET}'" not in str(caught.value)
    assert "parameters hidden" in str(caught.value)
