#include "apimachinery/labels.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/meta_v1.h"
#include "apimachinery/validation.h"
#include "base/strings.h"

namespace knarr::apimachinery {
namespace {

// The lexer of k8s.io/apimachinery/pkg/labels: symbols ( ) , ! = == != < > and words.
struct Lexer {
  std::string_view text;
  size_t at = 0;

  static bool special(char c) { return std::string_view("=!(),<>").find(c) != std::string_view::npos; }
  static bool space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

  std::string_view peek() const {
    Lexer copy = *this;
    return copy.next();
  }
  // "" at the end.
  std::string_view next() {
    while (at < text.size() && space(text[at])) ++at;
    size_t begin = at;
    if (at >= text.size()) return {};
    if (special(text[at])) {
      ++at;
      bool two = at < text.size() && text[at] == '=' && (text[begin] == '=' || text[begin] == '!');
      if (two) ++at;
      return text.substr(begin, at - begin);
    }
    while (at < text.size() && !special(text[at]) && !space(text[at])) ++at;
    return text.substr(begin, at - begin);
  }
};

bool isWord(std::string_view token) { return !token.empty() && !Lexer::special(token.front()); }

Unexpected badRequirement(std::string message) {
  return fail(Reason::BadRequest, "unable to parse requirement: " + std::move(message));
}

Result<std::vector<std::string>> parseSet(Lexer& lexer) {
  std::string_view token = lexer.next();
  if (token != "(") return badRequirement(fmt::format("found '{}' expected: '('", token));
  std::vector<std::string> values;
  for (;;) {
    token = lexer.peek();
    if (isWord(token)) {
      values.emplace_back(lexer.next());
      token = lexer.peek();
    } else if (token == ")" || token == ",") {
      values.emplace_back();  // an empty value, as in "(a,,b)"
    } else {
      return badRequirement(fmt::format("found '{}', expected: ',' or ')'", token));
    }
    if (token == ")") {
      lexer.next();
      break;
    }
    if (token != ",") return badRequirement(fmt::format("found '{}', expected: ',' or ')'", token));
    lexer.next();
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

Result<void> validateRequirement(const Requirement& requirement) {
  using Operator = Requirement::Operator;
  for (const std::string& message : isQualifiedName(requirement.key))
    return badRequirement(fmt::format("key: Invalid value: {}: {}", quote(requirement.key), message));
  bool ordered = requirement.op == Operator::GreaterThan || requirement.op == Operator::LessThan;
  for (size_t i = 0; i < requirement.values.size(); ++i) {
    if (ordered && !parseInt(requirement.values[i]))
      return badRequirement(fmt::format("values[{}]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer",
                                        i, quote(requirement.values[i])));
    for (const std::string& message : isValidLabelValue(requirement.values[i]))
      return badRequirement(
          fmt::format("values[{}][{}]: Invalid value: {}: {}", i, requirement.key, quote(requirement.values[i]), message));
  }
  return {};
}

Result<Requirement> parseRequirement(Lexer& lexer) {
  using Operator = Requirement::Operator;
  Requirement requirement;
  bool negated = lexer.peek() == "!";
  if (negated) lexer.next();
  std::string_view key = lexer.next();
  if (!isWord(key)) return badRequirement(fmt::format("found '{}', expected: identifier", key));
  requirement.key = key;
  std::string_view op = lexer.peek();
  if (negated || op.empty() || op == ",") {
    requirement.op = negated ? Operator::DoesNotExist : Operator::Exists;
    TRY(validateRequirement(requirement));
    return requirement;
  }
  lexer.next();
  if (op == "in" || op == "notin") {
    requirement.op = op == "in" ? Operator::In : Operator::NotIn;
    requirement.values = TRY(parseSet(lexer));
  } else if (op == "=" || op == "==" || op == "!=" || op == ">" || op == "<") {
    requirement.op = op == "!="  ? Operator::NotIn
                     : op == ">" ? Operator::GreaterThan
                     : op == "<" ? Operator::LessThan
                                 : Operator::In;
    requirement.singleEquals = op == "=" || op == "==" || op == "!=";
    std::string_view value = lexer.peek();
    requirement.values.emplace_back(isWord(value) ? lexer.next() : std::string_view());
  } else {
    return badRequirement(fmt::format("found '{}', expected: in, notin, =, ==, !=, gt, lt", op));
  }
  TRY(validateRequirement(requirement));
  return requirement;
}

}  // namespace

bool Requirement::matches(const schema::StringMap& labels) const {
  const schema::Str* value = labels.find(key);
  switch (op) {
    case Operator::In:
      return value && std::binary_search(values.begin(), values.end(), *value, std::less<>{});
    case Operator::NotIn:
      return !value || !std::binary_search(values.begin(), values.end(), *value, std::less<>{});
    case Operator::Exists:
      return value != nullptr;
    case Operator::DoesNotExist:
      return value == nullptr;
    case Operator::GreaterThan:
    case Operator::LessThan: {
      auto have = value ? parseInt(*value) : std::nullopt;
      auto bound = parseInt(values.front());
      if (!have || !bound) return false;
      return op == Operator::GreaterThan ? *have > *bound : *have < *bound;
    }
  }
  return false;
}

LabelSelector LabelSelector::nothing() {
  LabelSelector selector;
  selector.nothing_ = true;
  return selector;
}

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector selector;
  Lexer lexer{text};
  while (!lexer.peek().empty()) {
    std::string_view token = lexer.peek();
    if (!isWord(token) && token != "!")
      return fail(Reason::BadRequest, fmt::format("found '{}', expected: !, identifier, or 'end of string'", token));
    selector.add(TRY(parseRequirement(lexer)));
    token = lexer.next();
    if (token.empty()) break;
    if (token != ",") return fail(Reason::BadRequest, fmt::format("found '{}', expected: ',' or 'end of string'", token));
    token = lexer.peek();
    if (!isWord(token) && token != "!")
      return fail(Reason::BadRequest, fmt::format("found '{}', expected: identifier after ','", token));
  }
  std::stable_sort(selector.requirements_.begin(), selector.requirements_.end(),
                   [](const Requirement& a, const Requirement& b) { return a.key < b.key; });
  return selector;
}

Result<LabelSelector> LabelSelector::from(const metav1::LabelSelector* selector) {
  using Operator = Requirement::Operator;
  if (selector == nullptr) return nothing();
  LabelSelector out = fromMap(selector->matchLabels);
  for (const auto& expression : selector->matchExpressions) {
    Requirement requirement;
    requirement.key = expression.key;
    if (expression.operator_ == "In")
      requirement.op = Operator::In;
    else if (expression.operator_ == "NotIn")
      requirement.op = Operator::NotIn;
    else if (expression.operator_ == "Exists")
      requirement.op = Operator::Exists;
    else if (expression.operator_ == "DoesNotExist")
      requirement.op = Operator::DoesNotExist;
    else
      return fail(Reason::BadRequest, fmt::format("{} is not a valid label selector operator", quote(expression.operator_)));
    for (schema::Str value : expression.values) requirement.values.emplace_back(value);
    std::sort(requirement.values.begin(), requirement.values.end());
    out.add(std::move(requirement));
  }
  return out;
}

LabelSelector LabelSelector::fromMap(const schema::StringMap& labels) {
  LabelSelector selector;
  for (const auto& [key, value] : labels)
    selector.add(Requirement{std::string(key), Requirement::Operator::In, {std::string(value)}, true});
  return selector;
}

bool LabelSelector::matches(const schema::StringMap& labels) const {
  if (nothing_) return false;
  return std::all_of(requirements_.begin(), requirements_.end(), [&](const Requirement& r) { return r.matches(labels); });
}

std::string LabelSelector::str() const {
  using Operator = Requirement::Operator;
  std::vector<std::string> parts;
  for (const Requirement& r : requirements_) {
    switch (r.op) {
      case Operator::In:
        parts.push_back(r.singleEquals ? r.key + "=" + r.values.front() : fmt::format("{} in ({})", r.key, join(r.values, ",")));
        break;
      case Operator::NotIn:
        parts.push_back(r.singleEquals ? r.key + "!=" + r.values.front()
                                       : fmt::format("{} notin ({})", r.key, join(r.values, ",")));
        break;
      case Operator::Exists:
        parts.push_back(r.key);
        break;
      case Operator::DoesNotExist:
        parts.push_back("!" + r.key);
        break;
      case Operator::GreaterThan:
        parts.push_back(r.key + ">" + r.values.front());
        break;
      case Operator::LessThan:
        parts.push_back(r.key + "<" + r.values.front());
        break;
    }
  }
  return join(parts, ",");
}

Result<FieldSelector> FieldSelector::parse(std::string_view text) {
  FieldSelector selector;
  size_t at = 0;
  while (at < text.size()) {
    Term term;
    std::string* into = &term.field;
    bool haveOperator = false;
    size_t begin = at;
    for (; at < text.size() && text[at] != ','; ++at) {
      char c = text[at];
      if (c == '\\') {
        if (at + 1 >= text.size() || std::string_view("\\,=").find(text[at + 1]) == std::string_view::npos)
          return fail(Reason::BadRequest, fmt::format("invalid field selector: invalid escape sequence: {}", text.substr(at, 2)));
        *into += text[++at];
      } else if (!haveOperator && (c == '=' || (c == '!' && at + 1 < text.size() && text[at + 1] == '='))) {
        haveOperator = true;
        term.equal = c == '=';
        if (at + 1 < text.size() && text[at + 1] == '=') ++at;
        into = &term.value;
      } else {
        *into += c;
      }
    }
    if (at > begin) {
      if (!haveOperator)
        return fail(Reason::BadRequest,
                    fmt::format("invalid selector: '{}'; can't understand '{}'", text, text.substr(begin, at - begin)));
      selector.terms.push_back(std::move(term));
    }
    if (at < text.size()) ++at;
  }
  return selector;
}

const std::string* FieldSelector::exactValue(std::string_view field) const {
  for (const Term& term : terms)
    if (term.equal && term.field == field) return &term.value;
  return nullptr;
}

}  // namespace knarr::apimachinery
