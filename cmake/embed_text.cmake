# Writes a C++ source that holds the text file IN as `std::string_view NAMESPACE::FUNCTION()`, declared in HEADER.
file(READ "${IN}" text)
# Compilers promise 64 KiB for one raw string literal; the texts are smaller.
file(WRITE "${OUT}" "#include \"${HEADER}\"\n\nnamespace ${NAMESPACE} {\n\nstd::string_view ${FUNCTION}() {\n  return R\"embedded(${text})embedded\";\n}\n\n}  // namespace ${NAMESPACE}\n")
