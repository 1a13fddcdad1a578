-- The first version of a row: above all that its key has seen, so in the next generation where it has seen anything.
CASE
    WHEN {seen} = 0 THEN greatest(1, {status} * 4294967296)
    WHEN {seen} / 1099511627776 < 8388607
        THEN ({seen} / 1099511627776 + 1) * 1099511627776 + {status} * 4294967296
    ELSE {seen} + 1
END
