# Writes a C++ source that holds the text file IN as knarr::apiserver::bootstrapPolicyText().
file(READ "${IN}" text)
# One raw string literal may hold 64 KiB at least; the policy is smaller.
file(WRITE "${OUT}" "#include \"apiserver/bootstrap.h\"\n\nnamespace knarr::apiserver {\n\nstd::string_view bootstrapPolicyText() {\n  return R\"policy(${text})policy\";\n}\n\n}  // namespace knarr::apiserver\n")
