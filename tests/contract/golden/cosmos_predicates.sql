-- text
-- @p0 = "smith^john"
SELECT TOP 10 * FROM c WHERE c["q"]["00100010"]["full"] = @p0

-- text is case-sensitive
-- @p0 = "Smith^John"
SELECT TOP 10 * FROM c WHERE c["q"]["00100010"]["full"] = @p0

-- no conversion of text
-- @p0 = "1"
SELECT TOP 10 * FROM c WHERE c["n"] = @p0

-- number
-- @p0 = 1
SELECT TOP 10 * FROM c WHERE c["n"] = @p0

-- whole number as float
-- @p0 = 1.0
SELECT TOP 10 * FROM c WHERE c["n"] = @p0

-- fraction
-- @p0 = 2.5
SELECT TOP 10 * FROM c WHERE c["n"] = @p0

-- true is not one
-- @p0 = true
SELECT TOP 10 * FROM c WHERE c["n"] = @p0

-- one is not true
-- @p0 = 1
SELECT TOP 10 * FROM c WHERE c["flag"] = @p0

-- false
-- @p0 = false
SELECT TOP 10 * FROM c WHERE c["flag"] = @p0

-- object is no text
-- @p0 = "{\"full\":\"smith^john\",\"words\":\" smith john\"}"
SELECT TOP 10 * FROM c WHERE c["q"]["00100010"] = @p0

-- special characters
-- @p0 = "100%_[x]\\"
SELECT TOP 10 * FROM c WHERE c["q"]["00100020"] = @p0

-- NUL
-- @p0 = "a\u0000b"
SELECT TOP 10 * FROM c WHERE c["q"]["00100020"] = @p0

-- before NUL
-- @p0 = "a"
SELECT TOP 10 * FROM c WHERE c["q"]["00100020"] = @p0

-- injection
-- @p0 = "' OR 1=1 --"
SELECT TOP 10 * FROM c WHERE c["q"]["00100020"] = @p0

-- name with a dot
-- @p0 = "a"
SELECT TOP 10 * FROM c WHERE c["q"]["00400275.00400009"] = @p0

-- name with quotes
-- @p0 = "x"
SELECT TOP 10 * FROM c WHERE c["odd"]["a\"b\\c.d[0]$\u00fc\n"] = @p0

-- number at a name with quotes
-- @p0 = 1
SELECT TOP 10 * FROM c WHERE c["odd"]["a\"b\\c.d[0]$\u00fc\n"] = @p0

-- element at a name with quotes
-- @p0 = "x"
SELECT TOP 10 * FROM c WHERE ARRAY_CONTAINS(c["odd"]["a\"b\\c.d[0]$\u00fc\n"], @p0)

-- path through a text
-- @p0 = "x"
SELECT TOP 10 * FROM c WHERE c["odd"]["x"] = @p0

-- range
-- @p0 = "2024-01-01"
-- @p1 = "2024-01-31"
SELECT TOP 10 * FROM c WHERE (c["q"]["00080020"] >= @p0 AND c["q"]["00080020"] <= @p1)

-- range open above
-- @p0 = "2024-01-31"
SELECT TOP 10 * FROM c WHERE (c["q"]["00080020"] >= @p0)

-- range open below
-- @p0 = "2024-01-30"
SELECT TOP 10 * FROM c WHERE (c["q"]["00080020"] <= @p0)

-- range of text leaves numbers out
-- @p0 = "0"
SELECT TOP 10 * FROM c WHERE (c["n"] >= @p0)

-- range of numbers leaves text and true out
-- @p0 = 1
SELECT TOP 10 * FROM c WHERE (c["n"] >= @p0)

-- range of numbers up to
-- @p0 = 2
SELECT TOP 10 * FROM c WHERE (c["n"] <= @p0)

-- range without ends
SELECT TOP 10 * FROM c WHERE (IS_STRING(c["n"]) OR IS_NUMBER(c["n"]))

-- range by code point
-- @p0 = "s"
-- @p1 = "t"
SELECT TOP 10 * FROM c WHERE (c["q"]["00100010"]["full"] >= @p0 AND c["q"]["00100010"]["full"] <= @p1)

-- prefix
-- @p0 = "sm"
SELECT TOP 10 * FROM c WHERE STARTSWITH(c["q"]["00100010"]["full"], @p0)

-- empty prefix is any text
-- @p0 = ""
SELECT TOP 10 * FROM c WHERE STARTSWITH(c["n"], @p0)

-- prefix of a special character
-- @p0 = "100%_["
SELECT TOP 10 * FROM c WHERE STARTSWITH(c["q"]["00100020"], @p0)

-- prefix with an accent
-- @p0 = "mü"
SELECT TOP 10 * FROM c WHERE STARTSWITH(c["q"]["00100010"]["full"], @p0)

-- wildcard behind
-- @p0 = "smi"
SELECT TOP 10 * FROM c WHERE STARTSWITH(c["q"]["00100010"]["full"], @p0)

-- wildcard before
-- @p0 = "john"
SELECT TOP 10 * FROM c WHERE ENDSWITH(c["q"]["00100010"]["full"], @p0)

-- wildcard on both sides
-- @p0 = "ü"
SELECT TOP 10 * FROM c WHERE CONTAINS(c["q"]["00100010"]["full"], @p0)

-- wildcard alone
-- @p0 = ""
SELECT TOP 10 * FROM c WHERE CONTAINS(c["q"]["00100010"]["full"], @p0)

-- no wildcard
-- @p0 = "smith^john"
SELECT TOP 10 * FROM c WHERE c["q"]["00100010"]["full"] = @p0

-- wildcard and special characters
-- @p0 = "%_[x]\\"
SELECT TOP 10 * FROM c WHERE ENDSWITH(c["q"]["00100020"], @p0)

-- contains
-- @p0 = "^j"
SELECT TOP 10 * FROM c WHERE CONTAINS(c["q"]["00100010"]["full"], @p0)

-- contains a word
-- @p0 = " 太郎"
SELECT TOP 10 * FROM c WHERE CONTAINS(c["q"]["00100010"]["words"], @p0)

-- contains in a number
-- @p0 = "1"
SELECT TOP 10 * FROM c WHERE CONTAINS(c["q"]["00100020"], @p0)

-- contains NUL
-- @p0 = "\u0000"
SELECT TOP 10 * FROM c WHERE CONTAINS(c["q"]["00100020"], @p0)

-- in
-- @p0 = "smith^john"
-- @p1 = "smythe^jane"
-- @p2 = "nobody"
SELECT TOP 10 * FROM c WHERE c["q"]["00100010"]["full"] IN (@p0, @p1, @p2)

-- in is strict
-- @p0 = 1
-- @p1 = "x"
SELECT TOP 10 * FROM c WHERE c["n"] IN (@p0, @p1)

-- in with true
-- @p0 = true
-- @p1 = "1"
SELECT TOP 10 * FROM c WHERE c["n"] IN (@p0, @p1)

-- member
-- @p0 = "MR"
SELECT TOP 10 * FROM c WHERE ARRAY_CONTAINS(c["q"]["00080061"], @p0)

-- member is no substring
-- @p0 = "M"
SELECT TOP 10 * FROM c WHERE ARRAY_CONTAINS(c["q"]["00080061"], @p0)

-- member of a text
-- @p0 = "CTX"
SELECT TOP 10 * FROM c WHERE ARRAY_CONTAINS(c["q"]["00080061"], @p0)

-- member one
-- @p0 = 1
SELECT TOP 10 * FROM c WHERE ARRAY_CONTAINS(c["q"]["00080061"], @p0)

-- member true
-- @p0 = true
SELECT TOP 10 * FROM c WHERE ARRAY_CONTAINS(c["q"]["00080061"], @p0)

-- exists
SELECT TOP 10 * FROM c WHERE (IS_DEFINED(c["n"]) AND NOT IS_NULL(c["n"]))

-- exists, an object
SELECT TOP 10 * FROM c WHERE (IS_DEFINED(c["q"]["00100010"]) AND NOT IS_NULL(c["q"]["00100010"]))

-- exists, an array
SELECT TOP 10 * FROM c WHERE (IS_DEFINED(c["q"]["00080061"]) AND NOT IS_NULL(c["q"]["00080061"]))

-- exists, rare path
SELECT TOP 10 * FROM c WHERE (IS_DEFINED(c["q"]["00400275.00400009"]) AND NOT IS_NULL(c["q"]["00400275.00400009"]))

-- exists, strange name
SELECT TOP 10 * FROM c WHERE (IS_DEFINED(c["odd"]["a\"b\\c.d[0]$\u00fc\n"]) AND NOT IS_NULL(c["odd"]["a\"b\\c.d[0]$\u00fc\n"]))

-- and
-- @p0 = "s"
-- @p1 = "2024-02-01"
SELECT TOP 10 * FROM c WHERE (STARTSWITH(c["q"]["00100010"]["full"], @p0) AND (c["q"]["00080020"] >= @p1))

-- and of nothing
SELECT TOP 10 * FROM c WHERE true

-- or
-- @p0 = true
-- @p1 = "a"
SELECT TOP 10 * FROM c WHERE (c["flag"] = @p0 OR c["q"]["00400275.00400009"] = @p1)

-- or of nothing
SELECT TOP 10 * FROM c WHERE false

-- not
-- @p0 = 1
SELECT TOP 10 * FROM c WHERE NOT ((c["n"] = @p0) ?? false)

-- not of a rare path
-- @p0 = "a"
SELECT TOP 10 * FROM c WHERE NOT ((c["q"]["00400275.00400009"] = @p0) ?? false)

-- not of a range
-- @p0 = "2024-01-01"
-- @p1 = "2024-12-31"
SELECT TOP 10 * FROM c WHERE NOT (((c["q"]["00080020"] >= @p0 AND c["q"]["00080020"] <= @p1)) ?? false)

-- not of a prefix
-- @p0 = "s"
SELECT TOP 10 * FROM c WHERE NOT ((STARTSWITH(c["q"]["00100010"]["full"], @p0)) ?? false)

-- not of an element
-- @p0 = "MR"
SELECT TOP 10 * FROM c WHERE NOT ((ARRAY_CONTAINS(c["q"]["00080061"], @p0)) ?? false)

-- not exists
SELECT TOP 10 * FROM c WHERE NOT (((IS_DEFINED(c["n"]) AND NOT IS_NULL(c["n"]))) ?? false)

-- not not
-- @p0 = 1
SELECT TOP 10 * FROM c WHERE NOT ((NOT ((c["n"] = @p0) ?? false)) ?? false)

-- not and
-- @p0 = 1
-- @p1 = "s"
SELECT TOP 10 * FROM c WHERE NOT (((c["n"] = @p0 AND STARTSWITH(c["q"]["00100010"]["full"], @p1))) ?? false)

-- not or
-- @p0 = 1
-- @p1 = true
SELECT TOP 10 * FROM c WHERE NOT (((c["n"] = @p0 OR c["flag"] = @p1)) ?? false)

-- not of everything
SELECT TOP 10 * FROM c WHERE NOT ((true) ?? false)

-- wildcard for one character
-- @p0 = "A_C"
SELECT TOP 10 * FROM c WHERE c["q"]["00100020"] LIKE @p0 ESCAPE '!'

-- wildcards and special characters
-- @p0 = "5!%!_![a!-z!]!^\\!!%_"
SELECT TOP 10 * FROM c WHERE c["q"]["00100020"] LIKE @p0 ESCAPE '!'

-- negated wildcard
-- @p0 = "a%b"
SELECT TOP 10 * FROM c WHERE NOT ((c["q"]["00100020"] LIKE @p0 ESCAPE '!') ?? false)

