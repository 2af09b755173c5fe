package folder

// That is the comment of a test.
