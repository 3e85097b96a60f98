// The kernel's rules through the program nft, one script per transaction, which the kernel takes as a whole or not at all.
#include <fmt/format.h>

#include "base/strings.h"
#include "kube_proxy/conntrack.h"
#include "kube_proxy/rule_kernel.h"

namespace knarr::kube_proxy {
namespace {

constexpr size_t kListingBytesMax = size_t{256} << 20;

// Elements of one listed set: "elements = { KEY : VALUE, KEY : VALUE }" over any number of lines.
void readElements(const std::string& set, std::string_view text, std::map<ElementKey, std::string>& into) {
  for (std::string_view piece : split(text, ',')) {
    piece = trim(piece);
    if (piece.empty()) continue;
    size_t colon = piece.find(" : ");
    std::string key(trim(piece.substr(0, colon)));
    into[ElementKey{set, key}] = colon == std::string_view::npos ? "" : std::string(trim(piece.substr(colon + 3)));
  }
}

RuleListing readListing(std::string_view text) {
  RuleListing out;
  std::set<std::string> wanted = fixedSets();
  std::string set;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = trim(text.substr(at, end - at));
    at = end + 1;
    auto words = split(line, ' ');
    constexpr std::string_view kComment = "comment \"";
    if (set.empty() && line.starts_with(kComment) && line.ends_with('"') && line.size() > kComment.size())
      out.layout = std::string(line.substr(kComment.size(), line.size() - kComment.size() - 1));
    if (words.size() >= 3 && words[2] == "{" && (words[0] == "set" || words[0] == "map")) {
      set = words[1];
      if (!wanted.contains(set)) out.affinitySets.insert(set);
    }
    if (words.size() >= 3 && words[2] == "{" && words[0] == "chain") out.chains.emplace(words[1]);
    constexpr std::string_view kElements = "elements = { ";
    if (!line.starts_with(kElements)) continue;
    size_t begin = static_cast<size_t>(line.data() - text.data()) + kElements.size();
    size_t close = std::min(text.find('}', begin), text.size());
    if (wanted.contains(set)) readElements(set, text.substr(begin, close - begin), out.elements);
    at = close + 1;
  }
  return out;
}

class NftRuleKernel : public RuleKernel {
 public:
  NftRuleKernel(env::Env environment, RuleConfig config, std::string networkNamespacePath)
      : env_(environment), config_(std::move(config)), namespace_(std::move(networkNamespacePath)) {}

  async::Task<Result<void>> apply(RuleTransaction transaction) override {
    CO_TRY(co_await run({"-f", "-"}, scriptOf(transaction, config_)));
    co_return Result<void>();
  }

  async::Task<Result<RuleListing>> list() override {
    std::string text = CO_TRY(co_await run({"list", "table", config_.family(), config_.table}, ""));
    co_return readListing(text);
  }

  async::Task<Result<void>> removeTable() override {
    // Deleting what is not there is an error, so it is made first.
    CO_TRY(co_await run({"-f", "-"}, fmt::format("add table {0}\ndelete table {0}\n", config_.tableText())));
    co_return Result<void>();
  }

  async::Task<Result<int>> forgetUdpFlows(std::function<bool(const UdpFlow&)> isStale) override {
    co_return co_await async::runBlocking<Result<int>>(
        env_.executor, [isStale, v6 = config_.v6, path = namespace_] { return forgetUdpFlowsInKernel(v6, path, isStale); });
  }

 private:
  async::Task<Result<std::string>> run(std::vector<std::string> arguments, std::string input) {
    env::ProcessSpec spec;
    for (const char* path : {"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"})
      if (spec.argv.empty() && env_.files.status(path)) spec.argv = {path};
    if (spec.argv.empty()) co_return fail(Reason::NotFound, "the program nft is missing: install the package nftables");
    bool listing = arguments.front() == "list";
    spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
    spec.standardInput = std::move(input);
    spec.networkNamespacePath = namespace_;
    spec.captureBytesMax = kListingBytesMax;
    env::ProcessExit exit = CO_TRY(co_await async::runProcess(env_, std::move(spec)));
    if (exit.exitCode == 0) co_return std::move(exit.standardOutput);
    bool absent = listing && exit.standardError.find("No such file or directory") != std::string::npos;
    co_return fail(absent ? Reason::NotFound : Reason::InternalError,
                   fmt::format("nft: {}", trim(std::string_view(exit.standardError).substr(0, 2000))));
  }

  env::Env env_;
  RuleConfig config_;
  std::string namespace_;
};

}  // namespace

std::unique_ptr<RuleKernel> makeNftRuleKernel(env::Env environment, RuleConfig config, std::string networkNamespacePath) {
  return std::make_unique<NftRuleKernel>(environment, std::move(config), std::move(networkNamespacePath));
}

}  // namespace knarr::kube_proxy
