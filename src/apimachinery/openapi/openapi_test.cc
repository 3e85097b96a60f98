#include "apimachinery/openapi/openapi.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "apimachinery/openapi/descriptions.h"
#include "codec/protobuf_wire.h"
#include "codec/value.h"
#include "schema/type_info.h"

namespace knarr::apimachinery::openapi {
namespace {

using codec::Member;
using codec::Value;

class OpenApi : public testing::Test {
 protected:
  Value parse(const std::string& text) {
    auto value = codec::parseJsonValue(text, arena_);
    EXPECT_TRUE(value) << value.error().message();
    return value ? *value : Value();
  }
  // The value at a path of member names.
  static const Value* at(const Value& root, std::initializer_list<std::string_view> names) {
    const Value* value = &root;
    for (std::string_view name : names) value = value ? value->find(name) : nullptr;
    return value;
  }
  // A copy without descriptions.
  Value bare(const Value& value) {
    if (value.isArray()) {
      Value out = Value::emptyArray();
      for (const Value& item : value.items()) out.append(arena_, bare(item));
      return out;
    }
    if (!value.isObject()) return value;
    Value out = Value::emptyObject();
    for (const Member& member : value.members())
      if (member.name != "description" || !member.value.isString()) out.set(arena_, member.name, bare(member.value));
    return out;
  }
  Arena arena_{size_t{1} << 20};
};

TEST_F(OpenApi, v3OfTheCoreGroup) {
  Value document = parse(documentV3(builtInGroupVersion("", "v1"), "v1.36.3"));
  EXPECT_EQ(document.find("openapi")->string(), "3.0.0");
  const Value* pods = at(document, {"paths", "/api/v1/namespaces/{namespace}/pods/{name}", "patch"});
  ASSERT_NE(pods, nullptr);
  EXPECT_EQ(codec::toJson(*pods->find("x-kubernetes-group-version-kind")), R"({"group":"","kind":"Pod","version":"v1"})");
  std::set<std::string_view> query;
  for (const Value& parameter : pods->find("parameters")->items()) query.insert(parameter.find("name")->string());
  EXPECT_EQ(query, (std::set<std::string_view>{"dryRun", "fieldManager", "fieldValidation", "force"}));
  EXPECT_NE(at(*pods, {"requestBody", "content", "application/strategic-merge-patch+json", "schema", "$ref"}), nullptr);

  const Value* schemas = at(document, {"components", "schemas"});
  const Value* spec = at(*schemas, {"io.k8s.api.core.v1.PodSpec", "properties"});
  ASSERT_NE(spec, nullptr);
  EXPECT_EQ(codec::toJson(bare(*spec->find("containers"))),
            R"({"items":{"allOf":[{"$ref":"#/components/schemas/io.k8s.api.core.v1.Container"}],"default":{}},)"
            R"("type":"array","x-kubernetes-list-map-keys":["name"],"x-kubernetes-list-type":"map",)"
            R"("x-kubernetes-patch-merge-key":"name","x-kubernetes-patch-strategy":"merge"})");
  EXPECT_EQ(codec::toJson(bare(*spec->find("restartPolicy"))), R"({"enum":["Always","Never","OnFailure"],"type":"string"})");
  const Value* port = at(*schemas, {"io.k8s.api.core.v1.ContainerPort", "properties"});
  EXPECT_EQ(codec::toJson(bare(*port->find("protocol"))), R"({"default":"TCP","enum":["SCTP","TCP","UDP"],"type":"string"})");
  EXPECT_EQ(codec::toJson(bare(*port->find("containerPort"))), R"({"default":0,"format":"int32","type":"integer"})");
  EXPECT_EQ(codec::toJson(*at(*schemas, {"io.k8s.apimachinery.pkg.api.resource.Quantity"})),
            R"({"oneOf":[{"type":"string"},{"type":"number"}]})");
  EXPECT_EQ(codec::toJson(*at(*schemas, {"io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference", "required"})),
            R"(["apiVersion","kind","name","uid"])");
}

// Every reference of a document leads to a schema in it.
bool hasField(const schema::TypeInfo& type, std::string_view json) {
  for (const schema::FieldInfo& field : type.fields) {
    if (field.json == json) return true;
    if (field.json.empty() && field.message && hasField(*field.message, json)) return true;
  }
  return type.hasTypeMeta && (json == "kind" || json == "apiVersion");
}

// Every entry names what is there, once, in a sentence of bounded length.
TEST_F(OpenApi, descriptionsFitTheTypes) {
  std::set<std::string> seen;
  size_t entries = 0;
  for (const Descriptions::Entry& entry : Descriptions::parse(descriptionsText())) {
    SCOPED_TRACE(entry.type + " " + entry.field);
    EXPECT_TRUE(seen.insert(entry.type + " " + entry.field).second) << "stands twice";
    EXPECT_TRUE(entry.words.ends_with('.'));
    EXPECT_LE(entry.words.size(), 200u);
    ++entries;
    if (entry.type == "*") continue;
    const schema::TypeInfo* type = schema::findTypeByName(entry.type);
    ASSERT_NE(type, nullptr);
    if (!entry.field.empty()) EXPECT_TRUE(hasField(*type, entry.field));
  }
  EXPECT_GE(entries, 300u);
  EXPECT_LT(descriptionsText().size(), 100u * 1024);
}

TEST_F(OpenApi, descriptionsStandInTheDocument) {
  Value document = parse(documentV3(builtInGroupVersion("apps", "v1"), "v1.36.3"));
  const Value* schemas = at(document, {"components", "schemas"});
  EXPECT_FALSE(at(*schemas, {"io.k8s.api.apps.v1.Deployment", "description"})->string().empty());
  const Value* spec = at(*schemas, {"io.k8s.api.apps.v1.DeploymentSpec", "properties"});
  EXPECT_EQ(at(*spec, {"replicas", "description"})->string(), "Number of pods. 1 when absent.");
  EXPECT_EQ(at(*schemas, {"io.k8s.api.core.v1.Volume", "properties", "emptyDir", "description"})->string(),
            "An empty directory that lives as long as the pod.")
      << "of an inlined struct";
}

TEST_F(OpenApi, v3DocumentsAreClosed) {
  std::set<std::pair<std::string_view, std::string_view>> groupVersions;
  for (const schema::ResourceInfo& resource : schema::allResources()) groupVersions.emplace(resource.group, resource.version);
  EXPECT_GT(groupVersions.size(), 30u);
  for (auto [group, version] : groupVersions) {
    std::string text = documentV3(builtInGroupVersion(group, version), "v1.36.3");
    Value schemas = *at(parse(text), {"components", "schemas"});
    constexpr std::string_view kRef = "\"#/components/schemas/";
    size_t refs = 0;
    for (size_t i = text.find(kRef); i != std::string::npos; i = text.find(kRef, i), ++refs) {
      i += kRef.size();
      std::string name = text.substr(i, text.find('"', i) - i);
      EXPECT_NE(schemas.find(name), nullptr) << group << "/" << version << " " << name;
    }
    EXPECT_GT(refs, 10u);
    EXPECT_EQ(text.find("#/definitions/"), std::string::npos);
  }
}

TEST_F(OpenApi, customResources) {
  Arena arena;
  schema::TypeInfo boat{}, boatList{};
  boat.name = "boat";
  boat.openApiName = "com.example.v1.Boat";
  boatList.name = "boatList";
  boatList.openApiName = "com.example.v1.BoatList";
  static constexpr std::string_view kVerbs[] = {"get", "list", "patch"};
  schema::ResourceInfo boats{};
  boats.group = "example.com";
  boats.version = "v1";
  boats.resource = "boats";
  boats.kind = "Boat";
  boats.namespaced = true;
  boats.verbs = kVerbs;
  boats.type = &boat;
  boats.listType = &boatList;
  Value schema = parse(R"({"type":"object","properties":{"spec":{"type":"object"}}})");
  GroupVersion group{"example.com", "v1", {&boats}, {{"com.example.v1.Boat", schema}, {"com.example.v1.BoatList", schema}}};
  group.custom = true;
  Value document = parse(documentV3(group, "v1.36.3"));
  EXPECT_EQ(*at(document, {"components", "schemas", "com.example.v1.Boat"}), schema);
  const Value* patch = at(document, {"paths", "/apis/example.com/v1/namespaces/{namespace}/boats/{name}", "patch"});
  ASSERT_NE(patch, nullptr);
  EXPECT_EQ(patch->find("operationId")->string(), "patchExampleComV1NamespacedBoat");
  EXPECT_EQ(at(*patch, {"requestBody", "content", "application/strategic-merge-patch+json"}), nullptr);
}

// The values of one field of a message; every other is passed over.
std::vector<std::string_view> fieldsOf(std::string_view message, uint32_t number) {
  std::vector<std::string_view> out;
  codec::WireReader reader(message);
  while (!reader.atEnd()) {
    uint32_t tag = 0;
    codec::Wire wire = codec::Wire::Varint;
    std::string_view bytes;
    EXPECT_TRUE(reader.key(tag, wire));
    if (tag == number && wire == codec::Wire::LengthDelimited) {
      EXPECT_TRUE(reader.bytes(bytes));
      out.push_back(bytes);
    } else if (!reader.skip(wire, 1)) {
      ADD_FAILURE() << "malformed at field " << tag;
      break;
    }
  }
  return out;
}
std::string_view fieldOf(std::string_view message, uint32_t number) {
  std::vector<std::string_view> all = fieldsOf(message, number);
  return all.empty() ? std::string_view() : all.front();
}
// The value of a name in a message of NamedX.
std::string_view entryOf(std::string_view map, uint32_t number, std::string_view name) {
  for (std::string_view entry : fieldsOf(map, number))
    if (fieldOf(entry, 1) == name) return fieldOf(entry, 2);
  return {};
}

// Field numbers: gnostic, openapiv2/OpenAPIv2.proto.
TEST_F(OpenApi, v2AsProtobufSaysWhatItSaysAsJson) {
  GroupVersion both[] = {builtInGroupVersion("", "v1"), builtInGroupVersion("apps", "v1")};
  Value json = parse(documentV2(both, "v1.36.3"));
  std::string document = documentV2Protobuf(both, "v1.36.3");
  EXPECT_EQ(fieldOf(document, 1), "2.0");
  EXPECT_EQ(fieldOf(fieldOf(document, 2), 2), "v1.36.3");
  std::string_view paths = fieldOf(document, 8), definitions = fieldOf(document, 9);
  EXPECT_EQ(fieldsOf(paths, 2).size(), json.find("paths")->size());
  EXPECT_EQ(fieldsOf(definitions, 1).size(), json.find("definitions")->size());

  std::string_view patch = fieldOf(entryOf(paths, 2, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"), 8);
  EXPECT_EQ(fieldOf(patch, 5), "patchAppsV1NamespacedDeployment");
  std::set<std::string_view> query;
  for (std::string_view parameter : fieldsOf(patch, 8))  // ParametersItem, Parameter, NonBodyParameter, its query form, name
    query.insert(fieldOf(fieldOf(fieldOf(fieldOf(parameter, 1), 2), 3), 4));
  EXPECT_TRUE(query.contains("fieldValidation"));
  EXPECT_EQ(fieldOf(entryOf(patch, 13, "x-kubernetes-group-version-kind"), 2),
            R"({"group":"apps","kind":"Deployment","version":"v1"})");

  std::string_view spec = entryOf(definitions, 1, "io.k8s.api.apps.v1.DeploymentSpec");
  EXPECT_EQ(fieldsOf(spec, 19), (std::vector<std::string_view>{"selector", "template"}));
  std::string_view replicas = entryOf(fieldOf(spec, 25), 1, "replicas");
  EXPECT_EQ(fieldOf(replicas, 2), "int32");
  EXPECT_EQ(fieldOf(fieldOf(replicas, 22), 1), "integer");
  std::string_view containers = entryOf(fieldOf(entryOf(definitions, 1, "io.k8s.api.core.v1.PodSpec"), 25), 1, "containers");
  EXPECT_EQ(fieldOf(fieldOf(fieldOf(containers, 23), 1), 1), "#/definitions/io.k8s.api.core.v1.Container");
  EXPECT_EQ(fieldOf(entryOf(containers, 31, "x-kubernetes-patch-merge-key"), 2), R"("name")");
  std::string_view token = fieldOf(entryOf(fieldOf(document, 13), 1, "BearerToken"), 2);  // an ApiKeySecurity
  EXPECT_EQ(fieldOf(token, 3), "header");
}

TEST_F(OpenApi, index) {
  EXPECT_EQ(hashOf("").substr(0, 8), "CF83E135");
  std::pair<std::string, std::string> paths[] = {{pathOf("apps", "v1"), "B"}, {pathOf("", "v1"), "A"}};
  EXPECT_EQ(indexV3(paths), R"({"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=A"},)"
                            R"("apis/apps/v1":{"serverRelativeURL":"/openapi/v3/apis/apps/v1?hash=B"}}})");
}

// The published v2 document says the same, where it lies beside the tree.
class PublishedOpenApi : public OpenApi {
 protected:
  void SetUp() override {
    const char* dir = std::getenv("KNARR_SOURCE_DIR");
    std::ifstream file(std::string(dir ? dir : ".") + "/../shared/facts/swagger-1.36-nodesc.json");
    if (!file) GTEST_SKIP() << "no published document";
    std::ostringstream text;
    text << file.rdbuf();
    published_ = parse(text.str());
    std::set<std::pair<std::string_view, std::string_view>> served;
    for (const schema::ResourceInfo& resource : schema::allResources())
      if (resource.group != "metrics.k8s.io") served.emplace(resource.group, resource.version);
    std::vector<GroupVersion> groupVersions;
    for (auto [group, version] : served) groupVersions.push_back(builtInGroupVersion(group, version));
    made_ = bare(parse(documentV2(groupVersions, "unversioned")));
  }
  // Lists in which order carries no meaning, put in order; shared parameters put in place.
  Value normalised(const Value& value, std::string_view name = {}) {
    if (value.isObject()) {
      if (const Value* ref = value.find("$ref"); ref && ref->stringOr().starts_with("#/parameters/"))
        return normalised(*published_.find("parameters")->find(ref->string().substr(13)));
      Value out = Value::emptyObject();
      for (const Member& member : value.members()) out.set(arena_, member.name, normalised(member.value, member.name));
      return out;
    }
    if (!value.isArray()) return value;
    std::vector<std::pair<std::string, Value>> items;
    for (const Value& item : value.items()) {
      Value copy = normalised(item);
      items.emplace_back(codec::toJson(copy), copy);
    }
    if (name == "parameters" || name == "consumes" || name == "produces" || name == "required")
      std::sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    Value out = Value::emptyArray();
    for (auto& [text, item] : items) out.append(arena_, item);
    return out;
  }
  void compare(const Value& made, const Value& published, const std::function<bool(std::string_view)>& skip) {
    std::set<std::string_view> names;
    for (const Member& member : made.members()) names.insert(member.name);
    for (const Member& member : published.members()) names.insert(member.name);
    int differences = 0;
    size_t compared = 0;
    for (std::string_view name : names) {
      if (skip(name)) continue;
      ++compared;
      const Value *a = made.find(name), *b = published.find(name);
      std::string x = a ? codec::toJson(normalised(*a)) : "absent", y = b ? codec::toJson(normalised(*b)) : "absent";
      if (x != y && ++differences < 10) EXPECT_EQ(x, y) << name;
    }
    EXPECT_EQ(differences, 0);
    EXPECT_GT(compared, 500u);
  }
  Value published_, made_;
};

TEST_F(PublishedOpenApi, definitions) {
  compare(*made_.find("definitions"), *published_.find("definitions"), [](std::string_view name) {
    // The published document holds one type twice, in v1alpha1 and in v1, whose tables are one
    // here.
    if (name.ends_with("admissionregistration.v1alpha1.MatchCondition")) return true;
    if (name.ends_with("admissionregistration.v1alpha1.MutatingAdmissionPolicySpec")) return true;
    // Registered in many groups, also in those that are no longer served.
    if (name.ends_with(".DeleteOptions") || name.ends_with(".WatchEvent")) return true;
    // Only paths outside of resources refer to these.
    return name.ends_with(".APIGroup") || name.ends_with(".APIGroupList") || name.ends_with(".APIVersions") ||
           name.ends_with("version.Info") || name.ends_with(".GroupVersionForDiscovery") ||
           name.ends_with(".ServerAddressByClientCIDR");
  });
}

TEST_F(PublishedOpenApi, paths) {
  compare(*made_.find("paths"), *published_.find("paths"), [](std::string_view path) {
    // Paths outside of group versions: /apis/, /apis/GROUP/, /version/, ...
    if (path == "/api/v1/" || path.starts_with("/api/v1/")) return false;
    return !path.starts_with("/apis/") || std::count(path.begin(), path.end(), '/') < 4;
  });
}

}  // namespace
}  // namespace knarr::apimachinery::openapi
