-- The next version of a row: generation * 2^40 + rank of the status * 2^32 + counter. A further status goes up in rank,
-- a step back (and a full counter) begins the next generation; a status that is not in the list keeps the rank.
CASE
    WHEN {status} IN (0, {old} / 4294967296 % 256) AND {old} % 4294967296 < 4294967295 THEN {old} + 1
    WHEN {status} > {old} / 4294967296 % 256
        THEN {old} / 1099511627776 * 1099511627776 + {status} * 4294967296
    WHEN {old} / 1099511627776 < 8388607
        THEN ({old} / 1099511627776 + 1) * 1099511627776
             + coalesce(nullif({status}, 0), {old} / 4294967296 % 256) * 4294967296
    ELSE {old} + 1
END
